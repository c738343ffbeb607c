# Builds the wheel in one stage and installs it, with pinned and hashed dependencies, in the other.
FROM python:3.13-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY bot bot
COPY handlers handlers
COPY sandbox sandbox
COPY manifests manifests
RUN sed -n '/^setuptools==/,/[^\\]$/p' constraints.txt > /tmp/build.txt \
    && python -m pip install --no-cache-dir --require-hashes -r /tmp/build.txt \
    && python -m pip wheel --no-deps --no-build-isolation --wheel-dir /wheels .

FROM python:3.13-slim
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 TKGBOT_CONFIG=/etc/tkgbot/tkgbot.yaml TKGBOT_DATA=/data \
    MPLCONFIGDIR=/tmp/matplotlib
COPY constraints-run.txt /tmp/
COPY --from=build /wheels /wheels
RUN python -m pip install --no-cache-dir --require-hashes -r /tmp/constraints-run.txt \
    && python -m pip install --no-cache-dir --no-deps /wheels/*.whl \
    && rm -rf /tmp/constraints-run.txt /wheels \
    && useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin tkgbot \
    && install -d -o tkgbot -g tkgbot -m 0700 /data
USER 10001:10001
VOLUME /data
ENTRYPOINT ["tkgbot"]
CMD ["run"]
